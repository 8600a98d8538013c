-- Who may do what here: see evtool.grant_namespace, which makes the roles as well where it may.
SELECT evtool.grant_namespace(:'ns') AS granted;
