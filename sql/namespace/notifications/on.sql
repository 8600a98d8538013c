-- Writers notify from now on; see functions/notify_messages.sql.
CREATE OR REPLACE TRIGGER messages_notify
AFTER INSERT ON :"ns".messages
FOR EACH STATEMENT EXECUTE FUNCTION :"ns".notify_messages();
