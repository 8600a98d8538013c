-- Made by scripts/generate: what this folder holds.
\set structure '0002'
\set checksum '078ce97a302bdcdcd0e0ec83248369ebb5fb5338eef08de2c02f0adebfd60a99'
\set evtool_version '0.1.0'
