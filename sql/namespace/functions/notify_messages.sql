-- Wakes up whoever listens to the namespace: NOTIFY on the channel of the schema's name, once a transaction that writes.
-- Not in Message DB.
--
-- A trigger function that no trigger calls until `evtool ns notify NAME --on` makes one: writers of a namespace that
-- nobody listens to pay nothing. The notification is empty. It says "look", and what is there to be seen is for the reads
-- to say, which are gap-safe; a transaction sends it once, however many messages it writes.
CREATE OR REPLACE FUNCTION :"ns".notify_messages()
RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = :"ns", pg_temp
AS $$
BEGIN
  PERFORM pg_notify(TG_TABLE_SCHEMA, '');
  RETURN NULL;
END;
$$;
