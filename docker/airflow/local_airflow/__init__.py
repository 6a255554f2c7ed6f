"""The local Airflow: started without containers, and asked over its REST API."""
