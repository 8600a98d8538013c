-- Who may do what here: see evtool_jobs.grant_roles, which makes the roles as well where it may.
SELECT evtool_jobs.grant_roles() AS granted;
