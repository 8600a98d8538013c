-- Made by scripts/generate: what this folder holds.
\set structure '0001'
\set checksum 'b63a56c9174722618dfd3bdf64fe99edd59815ee649ec8ae37db3b0a7bd48222'
\set evtool_version '0.1.0'
