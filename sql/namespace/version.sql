-- Made by scripts/generate: what this folder holds.
\set structure '0002'
\set checksum 'd40dc29b940169ddaec5c5a1271658f0a0091bab29a5253d964602313452ec36'
\set evtool_version '0.1.0'
