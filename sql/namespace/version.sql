-- Made by scripts/generate: what this folder holds.
\set structure '0001'
\set checksum '80572fe011fb3e0918209a3a73e0bd379c761e626a20905d5936aea4f83aa116'
\set evtool_version '0.1.0'
