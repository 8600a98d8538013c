import evtool
def test_x(store):
    assert store.write_message(None, 'a-1', 'T', {'a': 1}) == 0
