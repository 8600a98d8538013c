-- Made by scripts/generate: what this folder holds.
\set structure '0001'
\set checksum '40545ab29e588db4d40eb13a31fda33d890a44f3a316703780c1c98f4665fca1'
\set evtool_version '0.1.0'
