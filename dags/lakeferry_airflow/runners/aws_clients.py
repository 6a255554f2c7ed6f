"""AWS clients for EMR Serverless and its logs: with the credentials found here, or with those of an Airflow connection.

`LAKEFERRY_EMR_AWS_CONN_ID` names a connection of Airflow's Amazon provider ("Amazon Web Services Connection" in its
documentation): keys, a role to assume, a region, endpoints. The lake is not read with it: stages and the plan process
find their credentials where they run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
from airflow.sdk.exceptions import AirflowException
from botocore.exceptions import BotoCoreError, ClientError

from connectors.connection import IN_DOUBT_VARIABLE
from connectors.errors import ConnectionNotFound, ServiceUnavailable, SettingError
from connectors.optional import hinted
from lakeferry_airflow.connections import connection_variables
from lakeferry_airflow.runners.emr_errors import lakeferry_error

if TYPE_CHECKING:
    from botocore.config import Config

VARIABLE = "LAKEFERRY_EMR_AWS_CONN_ID"


def aws_client(service: str, connection: str | None, config: Config) -> Any:
    """A client of an AWS service.

    Args:
        service: boto3's name of it, such as `s3`.
        connection: id of an Airflow connection; None: credentials and region as boto3 finds them.
        config: timeouts and retries.

    Raises:
        ConnectionNotFound: Airflow does not have the connection.
        PackageMissing: Airflow's Amazon provider is not installed.
        ServiceUnavailable: Airflow's secrets backends, or AWS's for credentials, did not answer.
        SettingError: the connection is of no use for AWS.
    """
    if not connection:
        make: Any = boto3.client
        return make(service, config=config)
    # Imported here: the provider takes a second to import.
    with hinted():
        from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

    hook: Any = AwsGenericHook(aws_conn_id=connection, client_type=service, config=config)
    try:
        # If the hook does not find a connection, it goes on with the identity of the machine.
        if hook.conn_config.conn_id != connection:
            raise _missing(connection)
        return hook.get_conn()
    except (BotoCoreError, ClientError) as error:
        raise lakeferry_error(f"AWS, with connection {connection!r}", error) from None
    except (AirflowException, ValueError, TypeError) as error:
        raise SettingError(
            f"connection {connection!r} cannot be used for AWS: {type(error).__name__}",
            where=VARIABLE,
            fix="Make it a connection of the type Amazon Web Services",
        ) from None


def _missing(connection: str) -> ConnectionNotFound | ServiceUnavailable:
    if IN_DOUBT_VARIABLE in connection_variables([connection]):
        return ServiceUnavailable(
            f"Airflow's secrets backends gave no certain answer for connection {connection!r}", where=VARIABLE
        )
    return ConnectionNotFound(
        f"connection {connection!r} is not defined in Airflow",
        where=VARIABLE,
        fix="Add it in Airflow with the type Amazon Web Services, or name another one",
    )
