-- How many jobs are in each state, every state listed, and how long the oldest of them has been there: since its
-- submission where it is pending, since its beginning where it is at work.
CREATE OR REPLACE VIEW evtool_jobs.states AS
SELECT
  states.state,
  count(jobs.id) AS jobs,
  max(clock_timestamp() - CASE jobs.state
    WHEN 'pending' THEN jobs.submitted_at
    WHEN 'processing' THEN jobs.started_at
    ELSE jobs.finished_at
  END) AS oldest
FROM (
  VALUES (1, 'pending'), (2, 'processing'), (3, 'completed'), (4, 'completed_with_errors'), (5, 'failed'), (6, 'cancelled')
) AS states (number, state)
LEFT JOIN evtool_jobs.jobs ON jobs.state = states.state
GROUP BY states.number, states.state
ORDER BY states.number;
