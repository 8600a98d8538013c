-- Every fault of every refused record: a record with two faults has two rows.
CREATE OR REPLACE VIEW evtool_jobs.errors AS
SELECT
  rejects.job,
  rejects.batch,
  rejects.line,
  fault.number::integer AS number,
  fault.error ->> 'field' AS field,
  fault.error ->> 'value' AS value,
  fault.error ->> 'code' AS code,
  fault.error ->> 'message' AS message,
  rejects.raw
FROM evtool_jobs.rejects
CROSS JOIN LATERAL json_array_elements(rejects.errors) WITH ORDINALITY AS fault (error, number);
