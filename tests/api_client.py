"""The API over a home, called without a server."""

from api.app import create_app
from api.settings import load_settings


def client_of(home, **settings):
    return create_app(load_settings(home.folder, **settings)).test_client()
