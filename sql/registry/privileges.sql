-- The registry is its owner's; readers and writers of namespaces may look (see grant_namespace), PUBLIC may nothing.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA evtool FROM PUBLIC;
