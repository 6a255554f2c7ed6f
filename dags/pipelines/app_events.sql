-- Events of the app by day (UTC) and type.
SELECT
  DATE(e.occurred_at) AS event_date,
  e.event_type,
  COUNT(*) AS events,
  COUNT(DISTINCT e.user_id) AS users,
  SUM(e.amount) AS amount
FROM app.app_events AS e
GROUP BY event_date, e.event_type
