"""An S3 server for one test: moto's.

Argument: a directory. Each folder in it becomes a bucket with the files below it, `closed` one that nobody may read. The server's
address is the only line on standard output. It ends when standard input does.
"""

import json
import os
import pathlib
import sys

# Names on a page of a list: few, so that lists have pages.
os.environ["MOTO_S3_DEFAULT_MAX_KEYS"] = "3"

import boto3
from moto.server import ThreadedMotoServer

ROOT = pathlib.Path(sys.argv[1])

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
endpoint = f"http://{host}:{port}"
client = boto3.client(
    "s3",
    endpoint_url=endpoint,
    region_name="us-east-1",
    aws_access_key_id="test",
    aws_secret_access_key="test",
)
for folder in sorted(ROOT.iterdir()):
    client.create_bucket(Bucket=folder.name)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            key = path.relative_to(folder).as_posix()
            client.upload_file(str(path), folder.name, key)
    if folder.name == "closed":
        closed = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": ["arn:aws:s3:::closed", "arn:aws:s3:::closed/*"],
                }
            ],
        }
        client.put_bucket_policy(Bucket="closed", Policy=json.dumps(closed))
print(endpoint, flush=True)
sys.stdin.read()
server.stop()
