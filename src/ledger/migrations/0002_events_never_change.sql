-- SQLite's form of a trigger; PostgreSQL says the same through a function.
CREATE TRIGGER events_are_never_updated BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'events of a ledger are never changed');
END;

CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
BEGIN
    SELECT RAISE(ABORT, 'events of a ledger are never deleted');
END;

CREATE TRIGGER stations_are_never_updated BEFORE UPDATE ON stations
BEGIN
    SELECT RAISE(ABORT, 'stations of a ledger are never changed');
END;

CREATE TRIGGER stations_are_never_deleted BEFORE DELETE ON stations
BEGIN
    SELECT RAISE(ABORT, 'stations of a ledger are never deleted');
END;
