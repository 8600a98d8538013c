-- Made by scripts/generate: what this folder holds.
\set structure '0001'
\set checksum '75f1bcb85438020cf77372b6e14a6599485416ecc8f72e62cf0213a61189f816'
\set evtool_version '0.1.0'
