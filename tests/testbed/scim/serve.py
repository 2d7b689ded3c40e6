"""Runs scim2-server with its own command line, and room for bursts of connections.

Python's servers let five connections wait. The kernel drops or resets what comes beyond: with sixteen requests at once
some take a second or more, with sixty-four some fail. A test would take that for a fault of the operator.
"""

import socketserver

from scim2_server.testserver.cli import main

socketserver.TCPServer.request_queue_size = 512

if __name__ == "__main__":
    main()
