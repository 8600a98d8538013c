-- Decides which records of a batch get the keys that several of them claim: the first that is otherwise acceptable.
-- A record takes all its keys or none, so whoever is refused for one key leaves the others to later records.
--
-- pg_temp.evtool_claims holds a row for each record and key that others claim too: n, the record's place; key, the
-- number of the key; holder, equal where the values are; faulty, for a record that is refused anyway. The claims of
-- the records that get their keys end up taken.
CREATE OR REPLACE FUNCTION :"ns".settle_claims()
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  LOOP
    UPDATE pg_temp.evtool_claims SET state = 'taken'
    WHERE n IN (
      SELECT n
      FROM (
        SELECT n, n = min(n) OVER (PARTITION BY key, holder) AS is_first
        FROM pg_temp.evtool_claims
        WHERE state = 'open' AND NOT faulty
      ) AS open
      GROUP BY n
      HAVING bool_and(is_first)
    );
    EXIT WHEN NOT FOUND;
    UPDATE pg_temp.evtool_claims SET state = 'lost'
    WHERE state = 'open' AND n IN (
      SELECT later.n
      FROM pg_temp.evtool_claims AS later
      JOIN pg_temp.evtool_claims AS taken USING (key, holder)
      WHERE later.state = 'open' AND taken.state = 'taken' AND taken.n < later.n
    );
  END LOOP;
END;
$$;
