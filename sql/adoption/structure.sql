-- An ANALYZE that is at work has this lock, and waits for whoever has changed an index's row in the catalog: so the lock
-- comes first.
LOCK TABLE :"ns".messages IN SHARE UPDATE EXCLUSIVE MODE;

-- Says that a table of Message DB's is what evtool's first migration makes; the later ones follow.
CREATE TABLE :"ns".evtool_version (
  version_num varchar(32) NOT NULL,
  CONSTRAINT evtool_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO :"ns".evtool_version (version_num) VALUES ('0001');

-- From now on the planner inlines category(). Sessions keep the expression of an index as they first read it, so the
-- index is written to the catalog anew: else they would not use it for what they inline. It changes nothing else.
ALTER INDEX :"ns".messages_category RESET (fillfactor);
