-- Made by scripts/generate: what this folder holds.
\set structure '0002'
\set checksum 'e750149604cd0f8bc0926e0d703d0ffb3767e31edce0a8e0eb0362d7a96b755e'
\set evtool_version '0.1.0'
