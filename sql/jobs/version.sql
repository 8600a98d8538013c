-- Made by scripts/generate: what this folder holds.
\set structure '0001'
\set checksum '34f0a292efb0559e0c1aba9ff9c3b7d374f6033194f2229c615467232c538203'
\set evtool_version '0.1.0'
