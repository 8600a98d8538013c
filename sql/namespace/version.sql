-- Made by scripts/generate: what this folder holds.
\set structure '0002'
\set checksum '93b19e2595e42bd2bb41d2e26069076eff38618477b1f46464bf5f6aeba4214b'
\set evtool_version '0.1.0'
