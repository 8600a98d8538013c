-- Moves the sequence up to the greatest position, never down; no row where it is there already. Behind lock_messages.
SELECT setval(format('%I.%I', :'ns', 'messages_global_position_seq')::regclass, greatest.position)
FROM (SELECT max(global_position) AS position FROM :"ns".messages) AS greatest, :"ns".messages_global_position_seq AS own
WHERE own.last_value < greatest.position OR (NOT own.is_called AND own.last_value <= greatest.position)
