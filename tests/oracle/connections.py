"""Records how Airflow reads and writes connections: `python connections.py > connections.json`.

Two lists: `read` (a URI and the parts that Airflow makes of it) and `write` (parts, the URI that Airflow makes of them,
and what Airflow reads back from that). Run it with the Python of requirements.txt.
"""

import json
import sys

from airflow.models.connection import Connection

READ = [
    "postgres://me:secret@db.local:5432/sales?sslmode=require",
    "postgresql://db/sales",
    "google-cloud-platform://?project=p&scope=a%2Cb",
    "mysql://user:p%40ss%2Fw%3Ard%25@host/schema",
    "mysql://user:100%@host/schema",
    "http://https://api.example.com",
    "http://https://me:pw@api.example.com:8443/v1?x=y",
    "http://http%3A%2F%2Fapi.example.com/",
    "http://:8080",
    "http://@:8080",
    "s3://",
    "s3:///?__extra__=%7B%22region%22%3A+%22eu%22%2C+%22nested%22%3A+%7B%22a%22%3A+%5B1%2C+2%5D%7D%7D",
    "aws://AKIA:abc%2Fdef%2B@/?region_name=eu-central-1",
    "aws://?region_name=eu-central-1",
    "sqlite://%2Ftmp%2Fa%2Fb.db",
    "sqlite:///tmp/a.db",
    "ssh://me@host",
    "ssh://me:@host",
    "ssh://:pw@host",
    "ssh://me@ex.com:pw@host",
    "http://[::1]:80/",
    "http://%3A%3A1:80/",
    "x://h/?a=1&b=true&c=null&d=1.5&e=%5B1%5D&f=text&g=",
    "x://h/?a=b+c&d=e%2Bf&flag",
    "x://h/?a=1&a=2",
    "x://h/a/b/c",
    "x://h/a%2Fb",
    "my-type://h",
    "spark://yarn?deploy-mode=cluster",
    "http://example.com/?__extra__=%7B%7D",
    "x://host_with_underscore:1/",
    "x://ho__st/",
]

WRITE = [
    {"conn_type": "postgres", "host": "db", "login": "me", "password": "p@ss/w:rd%", "schema": "s", "port": 5432},
    {"conn_type": "google_cloud_platform", "extra": {"project": "p", "scope": "a,b"}},
    {"conn_type": "http", "host": "https://api.example.com", "port": 8443, "login": "me", "password": "pw"},
    {"conn_type": "http", "host": "http://api.example.com"},
    {"conn_type": "http", "port": 8080},
    {"conn_type": "aws", "login": "AKIA", "password": "a/b+c", "extra": {"region_name": "eu", "role": {"arn": "x"}}},
    {"conn_type": "s3", "extra": {"n": 1}},
    {"conn_type": "s3", "schema": "bucket", "extra": {"a": "b c", "d": "e+f&g"}},
    {"conn_type": "sqlite", "host": "/tmp/a/b.db"},
    {"conn_type": "x", "password": "only"},
    {"conn_type": "x", "login": "only"},
    {"conn_type": "x", "host": "::1", "port": 80},
    {"conn_type": "x", "host": "h", "schema": "a/b"},
    {"conn_type": "x", "host": "h", "password": "ünïcode ☃"},
    {"conn_type": "x", "host": "ho__st"},
    {"conn_type": "X_Y", "host": "h"},
    {"conn_type": "x"},
]


def parts(connection):
    return {
        "conn_type": connection.conn_type,
        "host": connection.host or None,
        "login": connection.login or None,
        "password": connection.password,
        "schema": connection.schema or None,
        "port": connection.port,
        "extra": json.loads(connection.extra) if connection.extra else {},
    }


def read(uri):
    try:
        return parts(Connection(conn_id="c", uri=uri))
    except Exception as error:  # noqa: BLE001 - that Airflow refuses it is what we record
        return {"error": type(error).__name__}


def write(given):
    uri = Connection(conn_id="c", **given).get_uri()
    return {"parts": given, "uri": uri, "back": read(uri)}


json.dump(
    {"read": [{"uri": uri, "parts": read(uri)} for uri in READ], "write": [write(given) for given in WRITE]},
    sys.stdout,
    indent=1,
    ensure_ascii=False,
)
