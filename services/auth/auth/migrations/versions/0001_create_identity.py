"""Create users, sessions, keys and what the issuer needs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from chassis.data import migrations as chassis_ops

revision = "0001"
down_revision = None

SCHEMA = "auth"
TIME = sa.DateTime(timezone=True)
TEXTS = postgresql.ARRAY(sa.Text())
ALL = ("SELECT", "INSERT", "UPDATE", "DELETE")

FUNCTIONS = {
    "find_user_by_email": """
        CREATE FUNCTION auth.find_user_by_email(wanted text)
        RETURNS TABLE (id uuid, password_hash text) LANGUAGE sql STABLE AS $$
            SELECT users.id, users.password_hash FROM auth.users WHERE users.email_key = wanted
        $$
    """,
    "find_refresh_token": """
        CREATE FUNCTION auth.find_refresh_token(wanted bytea)
        RETURNS TABLE (user_id uuid, id uuid) LANGUAGE sql STABLE AS $$
            SELECT token.user_id, token.id FROM auth.refresh_tokens AS token WHERE token.secret_hash = wanted
        $$
    """,
    "find_api_key": """
        CREATE FUNCTION auth.find_api_key(wanted_public_id text, wanted_secret_hmac bytea)
        RETURNS TABLE (
            organization_id uuid, id uuid, creator_id uuid, scopes text[], allowed_addresses text[],
            requests_per_minute integer, end_user text, expire_time timestamptz, revoke_time timestamptz
        ) LANGUAGE sql STABLE AS $$
            SELECT key.organization_id, key.id, key.creator_id, key.scopes, key.allowed_addresses,
                key.requests_per_minute, key.end_user, key.expire_time, key.revoke_time
            FROM auth.api_keys AS key
            WHERE key.public_id = wanted_public_id AND key.secret_hmac = wanted_secret_hmac
        $$
    """,
    "get_user_profiles": """
        CREATE FUNCTION auth.get_user_profiles(wanted uuid[])
        RETURNS TABLE (id uuid, display_name text, email text) LANGUAGE sql STABLE AS $$
            SELECT users.id, users.display_name, users.email
            FROM auth.users WHERE users.id = ANY (wanted[1 : 200])
        $$
    """,
    "touch_api_keys": """
        CREATE FUNCTION auth.touch_api_keys(used_ids uuid[], used_times timestamptz[])
        RETURNS void LANGUAGE sql AS $$
            UPDATE auth.api_keys AS key
            SET last_used_time = greatest(key.last_used_time, used.time)
            FROM unnest(used_ids, used_times) AS used (id, time)
            WHERE key.id = used.id
        $$
    """,
    "purge": """
        CREATE FUNCTION auth.purge(cut timestamptz)
        RETURNS void LANGUAGE sql AS $$
            DELETE FROM auth.refresh_tokens WHERE expire_time < cut - interval '7 days';
            DELETE FROM auth.sessions AS session
            WHERE session.create_time < cut - interval '7 days' AND NOT EXISTS (
                SELECT 1 FROM auth.refresh_tokens AS token
                WHERE token.user_id = session.user_id AND token.session_id = session.id
            );
            DELETE FROM auth.used_assertions WHERE expire_time < cut - interval '5 minutes';
            DELETE FROM auth.throttles WHERE window_end < cut;
            DELETE FROM auth.revocations WHERE create_time < cut - interval '1 day';
            DELETE FROM auth.issuer_keys WHERE retire_time < cut - interval '1 day';
        $$
    """,
}


def upgrade() -> None:
    chassis_ops.shared_v1(SCHEMA)
    _create_people()
    _create_keys()
    _create_global_tables()
    for statement in FUNCTIONS.values():
        chassis_ops.security_definer(SCHEMA, statement)


def downgrade() -> None:
    for name in FUNCTIONS:
        op.execute(f"DROP FUNCTION {SCHEMA}.{name}")
    for table in (
        "used_assertions",
        "throttles",
        "revocations",
        "issuer_keys",
        "membership_answers",
        "api_keys",
        "refresh_tokens",
        "sessions",
        "users",
    ):
        op.drop_table(table, schema=SCHEMA)
    chassis_ops.drop_shared(SCHEMA)


def _create_people() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_key", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("home_organization_id", sa.Uuid(), nullable=True),
        sa.Column("home_organization_name", sa.Text(), nullable=True),
        sa.Column("provision_time", TIME, nullable=True),
        sa.Column("create_time", TIME, server_default=sa.func.now(), nullable=False),
        sa.Column("update_time", TIME, server_default=sa.func.now(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email_key", name="uq_users_email_key"),
        schema=SCHEMA,
    )
    op.create_table(
        "sessions",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_address", sa.Text(), nullable=False),
        sa.Column("create_time", TIME, nullable=False),
        sa.Column("end_time", TIME, nullable=True),
        sa.Column("end_cause", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("user_id", "id", name="pk_sessions"),
        schema=SCHEMA,
    )
    op.create_table(
        "refresh_tokens",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("family_id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("child_id", sa.Uuid(), nullable=True),
        sa.Column("create_time", TIME, nullable=False),
        sa.Column("used_time", TIME, nullable=True),
        sa.Column("expire_time", TIME, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "id", name="pk_refresh_tokens"),
        sa.UniqueConstraint("secret_hash", name="uq_refresh_tokens_secret_hash"),
        schema=SCHEMA,
    )
    op.create_index("ix_refresh_tokens_user_id_session_id", "refresh_tokens", ["user_id", "session_id"], schema=SCHEMA)
    chassis_ops.protect_user(SCHEMA, "users", column="id")
    chassis_ops.protect_user(SCHEMA, "sessions")
    chassis_ops.protect_user(SCHEMA, "refresh_tokens")


def _create_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("creator_id", sa.Uuid(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("public_id", sa.Text(), nullable=False),
        sa.Column("secret_hmac", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", TEXTS, nullable=False),
        sa.Column("allowed_addresses", TEXTS, nullable=False),
        sa.Column("requests_per_minute", sa.Integer(), nullable=False),
        sa.Column("end_user", sa.Text(), nullable=False),
        sa.Column("expire_time", TIME, nullable=True),
        sa.Column("last_used_time", TIME, nullable=True),
        sa.Column("revoke_time", TIME, nullable=True),
        sa.Column("create_time", TIME, server_default=sa.func.now(), nullable=False),
        sa.Column("update_time", TIME, server_default=sa.func.now(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id", name="pk_api_keys"),
        sa.UniqueConstraint("public_id", name="uq_api_keys_public_id"),
        schema=SCHEMA,
    )
    op.create_index("ix_api_keys_id", "api_keys", ["id"], schema=SCHEMA)
    op.create_index(
        "ix_api_keys_organization_id_create_time_id",
        "api_keys",
        ["organization_id", "create_time", "id"],
        schema=SCHEMA,
    )
    op.create_table(
        "membership_answers",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("grants", TEXTS, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("answer_time", TIME, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id", name="pk_membership_answers"),
        schema=SCHEMA,
    )
    chassis_ops.protect_tenant(SCHEMA, "api_keys")
    chassis_ops.protect_tenant(SCHEMA, "membership_answers")


def _create_global_tables() -> None:
    op.create_table(
        "issuer_keys",
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_private_key", sa.LargeBinary(), nullable=False),
        sa.Column("create_time", TIME, nullable=False),
        sa.Column("sign_from", TIME, nullable=False),
        sa.Column("retire_time", TIME, nullable=True),
        sa.PrimaryKeyConstraint("kid", name="pk_issuer_keys"),
        schema=SCHEMA,
    )
    op.create_table(
        "revocations",
        sa.Column("sequence", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("time", TIME, nullable=False),
        sa.Column("create_time", TIME, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("api_key_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("organization_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("sequence", name="pk_revocations"),
        schema=SCHEMA,
    )
    op.create_index("ix_revocations_create_time", "revocations", ["create_time"], schema=SCHEMA)
    op.create_table(
        "throttles",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("window_end", TIME, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_throttles"),
        schema=SCHEMA,
    )
    op.create_table(
        "used_assertions",
        sa.Column("jti", sa.Text(), nullable=False),
        sa.Column("expire_time", TIME, nullable=False),
        sa.PrimaryKeyConstraint("jti", name="pk_used_assertions"),
        schema=SCHEMA,
    )
    op.create_index("ix_used_assertions_expire_time", "used_assertions", ["expire_time"], schema=SCHEMA)
    chassis_ops.grant_global(SCHEMA, "issuer_keys", ("SELECT", "INSERT", "UPDATE"))
    chassis_ops.grant_global(SCHEMA, "revocations", ("SELECT", "INSERT"))
    chassis_ops.grant_global(SCHEMA, "throttles", ALL)
    chassis_ops.grant_global(SCHEMA, "used_assertions", ("SELECT", "INSERT"))
