-- Writers notify nobody any more, and pay nothing for it.
DROP TRIGGER messages_notify ON :"ns".messages;
