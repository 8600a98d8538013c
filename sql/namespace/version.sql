-- Made by scripts/generate: what this folder holds.
\set structure '0002'
\set checksum '5044e1ab1b26cc1f8035b67ba240064ef8b6e84d0350ec38ba22170d055cf814'
\set evtool_version '0.1.0'
