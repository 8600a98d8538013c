-- Made by scripts/generate: what this folder holds.
\set structure '0001'
\set checksum '78db7113e808dfda93f4162598e57bcbf5141cc29ae7aee9ae19ff9f26fb5ef2'
\set evtool_version '0.1.0'
