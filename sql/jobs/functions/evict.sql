-- Ends the backend of a worker that fell silent, as claim named it, so that its open transaction holds no locks; whether
-- there was such a backend. With the caller's own rights: workers log in as the same role, or the caller is in
-- pg_signal_backend. Its number alone would not do, for it may be another's by now.
CREATE OR REPLACE FUNCTION evtool_jobs.evict(stale_pid integer, stale_start timestamptz)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = evtool_jobs, pg_temp
AS $$
BEGIN
  PERFORM FROM pg_stat_activity WHERE pid = stale_pid AND backend_start = stale_start;
  RETURN FOUND AND pg_terminate_backend(stale_pid);
EXCEPTION
  -- the server ends it too, by the time-out that workers set for their idle transactions
  WHEN insufficient_privilege THEN
    RAISE NOTICE 'Not allowed to end the backend % of a worker that fell silent', stale_pid;
    RETURN false;
END;
$$;
