"""Settings of Django's tests."""

import os

DATABASES = {
    alias: {
        "ENGINE": "django.db.backends.mysql",
        "HOST": os.environ["TEST_HOST"],
        "PORT": int(os.environ["TEST_PORT"]),
        "USER": "root",
        "PASSWORD": "root",
        "NAME": name,
        "OPTIONS": {"charset": "utf8mb4"},
        "TEST": {"CHARSET": "utf8mb4"},
    }
    for alias, name in (("default", "django"), ("other", "django_other"))
}
SECRET_KEY = "tests"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
TEST_RUNNER = "django_results.Runner"
