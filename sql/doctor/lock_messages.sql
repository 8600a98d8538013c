-- Keeps writers out until the transaction ends; readers go on.
LOCK TABLE :"ns".messages IN SHARE ROW EXCLUSIVE MODE
