-- Made by scripts/generate: what this folder holds.
\set structure '0002'
\set checksum '601528666b892a3926bf3dee70d727db01d87ff029853de61a68cfd60f74cebb'
\set evtool_version '0.1.0'
