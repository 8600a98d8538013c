-- Made by scripts/generate: what this folder holds.
\set structure '0001'
\set checksum '1c05b390ef2b5849738dac98bb3f7c412a5558c0dbd4e4de3149dd648471b495'
\set evtool_version '0.1.0'
