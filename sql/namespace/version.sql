-- Made by scripts/generate: what this folder holds.
\set structure '0001'
\set checksum '2c59c45547c4bfe48d50134cce4bf809c6a52ddf6a7f2846e02bdc5e61cf9fa7'
\set evtool_version '0.1.0'
