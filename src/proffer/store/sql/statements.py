"""Portable SQL statements. `?` stands for a value; the column order is that of `rows.py`."""
# ruff: noqa: S105, S608 - only the column lists below are interpolated

_CONTAINER = "id, organisation, sandbox, name, created_us, created_user, created_client, revision"
VERSION_COLUMNS = (
    "container_id, revision, instance_id, kind, id, etag, created_us, modified_us,"
    " created_user, created_client, modified_user, modified_client, deleted, document"
)
_TOKEN = "id, digest, organisation, sandbox, permissions, label, created_us, expires_us, revoked_us"

ALL_CONTAINERS = f"SELECT {_CONTAINER} FROM containers ORDER BY created_us, id"
CONTAINER_OF = f"SELECT {_CONTAINER} FROM containers WHERE organisation = ? AND sandbox = ?"
CONTAINER_EXISTS = "SELECT 1 FROM containers WHERE id = ?"
ADD_CONTAINER = f"INSERT INTO containers ({_CONTAINER}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"

REVISIONS = "SELECT id, revision FROM containers"
REVISION_OF = "SELECT revision FROM containers WHERE id = ?"
MOVE_REVISION = "UPDATE containers SET revision = ? WHERE id = ?"

LIVE = f"""
    SELECT {VERSION_COLUMNS} FROM versions
    WHERE container_id = ? AND revision IN (
        SELECT revision FROM instances WHERE container_id = ? AND deleted = 0)
    ORDER BY revision"""
LIVE_AT = f"""
    SELECT {VERSION_COLUMNS} FROM versions
    WHERE container_id = ? AND (deleted = 0 OR revision = ?) AND revision IN (
        SELECT max(revision) FROM versions WHERE container_id = ? AND revision <= ? AND instance_id IN (
            SELECT instance_id FROM instances WHERE container_id = ? AND revision >= ?)
        GROUP BY instance_id)
    ORDER BY revision"""
"""The newest version of each object that changed later; a deleted one only if it is of this very revision."""
VERSION_AT = f"""
    SELECT {VERSION_COLUMNS} FROM versions WHERE container_id = ? AND revision = (
        SELECT max(versions.revision) FROM versions JOIN instances USING (container_id, instance_id)
        WHERE container_id = ? AND canonical_id = ? AND versions.revision <= ?)"""
"""The newest version up to a revision of the object with an id; it may be a deletion."""
SINCE = f"SELECT {VERSION_COLUMNS} FROM versions WHERE container_id = ? AND revision > ? ORDER BY revision"
HISTORY = f"""
    SELECT {VERSION_COLUMNS} FROM versions WHERE container_id = ? AND instance_id = ? ORDER BY revision"""
COUNTS = """
    SELECT kind, count(*) FROM instances WHERE container_id = ? AND deleted = 0 GROUP BY kind"""

HEADS_TOUCHED = """
    SELECT instance_id, canonical_id, etag, deleted FROM instances
    WHERE container_id = ? AND (instance_id = ? OR canonical_id = ?)"""
ADD_VERSION = f"""
    INSERT INTO versions ({VERSION_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
PUT_HEAD = """
    INSERT INTO instances (container_id, instance_id, canonical_id, kind, etag, revision, deleted)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (container_id, instance_id) DO UPDATE SET
        kind = excluded.kind, etag = excluded.etag, revision = excluded.revision,
        deleted = excluded.deleted"""

ALL_TOKENS = f"SELECT {_TOKEN} FROM tokens ORDER BY created_us, id"
TOKEN_BY_DIGEST = f"SELECT {_TOKEN} FROM tokens WHERE digest = ?"
TOKEN_BY_ID = f"SELECT {_TOKEN} FROM tokens WHERE id = ?"
TOKEN_EXISTS = "SELECT 1 FROM tokens WHERE id = ? OR digest = ?"
ADD_TOKEN = f"INSERT INTO tokens ({_TOKEN}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
REVOKE_TOKEN = "UPDATE tokens SET revoked_us = ? WHERE id = ?"

LEASE_OF = "SELECT owner, until_us, version FROM leases WHERE name = ?"
PUT_LEASE = """
    INSERT INTO leases (name, owner, until_us, version) VALUES (?, ?, ?, 1)
    ON CONFLICT (name) DO UPDATE SET
        owner = excluded.owner, until_us = excluded.until_us, version = leases.version + 1
    WHERE leases.version = ?
    RETURNING version"""

_EVALUATION = "container_id, revision, meaning, started_us, finished_us, customers, changed"
AUDIENCE_EVALUATION = f"SELECT {_EVALUATION} FROM audience_evaluations WHERE container_id = ?"
PUT_AUDIENCE_EVALUATION = f"""
    INSERT INTO audience_evaluations ({_EVALUATION}) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (container_id) DO UPDATE SET
        revision = excluded.revision, meaning = excluded.meaning, started_us = excluded.started_us,
        finished_us = excluded.finished_us, customers = excluded.customers, changed = excluded.changed"""
