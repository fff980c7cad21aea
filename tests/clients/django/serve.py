"""The Django project on a free port, with the user `alice` and the password `secret of alice`."""

import os
from wsgiref.simple_server import make_server

os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"

from django.core.management import call_command
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from django.contrib.auth.models import User

call_command("migrate", verbosity=0)
User.objects.create_user("alice", password="secret of alice")
server = make_server("127.0.0.1", 0, application)
print(f"READY http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
