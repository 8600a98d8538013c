-- Made by scripts/generate: what this folder holds.
\set structure '0001'
\set checksum 'c7e27eaaf515a43ab1559e059915f04a8b64ada9ef529e105f562bdfbfa574a9'
\set evtool_version '0.1.0'
