"""Print fresh passwords and keys for docker-compose.yml: `python3 tools/compose_env.py > .env`."""

import base64
import secrets

SERVICES = ("auth", "org", "kb", "conversation", "agent", "tool")
PASSWORDS = ("POSTGRES_PASSWORD", "NATS_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY")
ROLES = ("OWNER", "APP", "MACHINERY")


def main() -> None:
    """Print one variable a line."""
    of_roles = [f"{service.upper()}_{role}_PASSWORD" for service in SERVICES for role in ROLES]
    for name in (*PASSWORDS, *of_roles):
        print(f"{name}={secrets.token_hex(24)}")
    for service in SERVICES:
        print(f"{service.upper()}_ENCRYPTION_KEY={base64.b64encode(secrets.token_bytes(32)).decode()}")


if __name__ == "__main__":
    main()
