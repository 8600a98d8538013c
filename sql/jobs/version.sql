-- Made by scripts/generate: what this folder holds.
\set structure '0001'
\set checksum '08365ad3d2d9e663e401ba5f806dde88d0efec0897e8c41352ed5b818696f651'
\set evtool_version '0.1.0'
