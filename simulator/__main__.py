"""`python -m simulator`: listen on loopback, print one line of JSON when ready, stop on SIGTERM or SIGINT."""

import argparse
import asyncio
import ipaddress
import json
import os
import signal
import sys

import uvloop

from simulator import broadcasts, server, world
from simulator.world import World


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulator", description="OpenRouter's stand-in.")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--speed", choices=sorted(world.PACES), default="real")
    parser.add_argument(
        "--generation-delay-ms", type=int, default=2000, help="GET /generation answers 404 for so long"
    )
    parser.add_argument(
        "--broadcast",
        metavar="URL",
        help="tell this address of every ended generation; BROADCAST_SECRET in the environment is its bearer token",
    )
    parser.add_argument("--broadcast-delay-ms", type=int, default=500, help="how long after its end")
    return parser.parse_args()


def _destination(arguments: argparse.Namespace) -> broadcasts.Destination | None:
    if not arguments.broadcast:
        return None
    secret = os.environ.get("BROADCAST_SECRET", "")
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    return broadcasts.destination(
        {"url": arguments.broadcast, "headers": headers, "delay_ms": arguments.broadcast_delay_ms}
    )


async def _serve(arguments: argparse.Namespace) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    state = World(
        pace=world.PACES[arguments.speed],
        generation_delay_s=arguments.generation_delay_ms / 1000,
    )
    state.broadcasts.point(arguments.destination)
    listening = await server.listen(state, host=arguments.host, port=arguments.port)
    port = listening.sockets[0].getsockname()[1]
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    base = f"http://{host}:{port}"
    sys.stdout.write(json.dumps({"url": f"{base}/api/v1", "sim_url": base}) + "\n")
    sys.stdout.flush()
    await stopped.wait()
    listening.close()


def main() -> int:
    arguments = _arguments()
    address = "127.0.0.1" if arguments.host == "localhost" else arguments.host
    try:
        loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        sys.stderr.write(f"simulator: {arguments.host} is not a loopback address; use 127.0.0.1 or ::1\n")
        return 2
    arguments.host = address
    try:
        arguments.destination = _destination(arguments)
    except broadcasts.BadDestination as exc:
        sys.stderr.write(f"simulator: --broadcast: {exc}\n")
        return 2
    try:
        uvloop.run(_serve(arguments))
    except OSError as exc:
        where = f"{arguments.host}:{arguments.port}"
        sys.stderr.write(f"simulator: cannot listen on {where}: {exc.strerror or exc}; pass --port 0\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
