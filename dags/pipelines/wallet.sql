-- Movements of all wallets by day (UTC) and kind.
SELECT
  DATE(e.created_at) AS movement_date,
  e.kind,
  COUNT(*) AS movements,
  COUNT(DISTINCT e.wallet_id) AS wallets,
  SUM(e.amount) AS amount
FROM wallet.balance_entries AS e
GROUP BY movement_date, e.kind
