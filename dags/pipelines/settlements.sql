-- Settlements by day, merchant and currency.
SELECT
  s.dt AS settlement_date,
  s.merchant_id,
  s.currency,
  COUNT(*) AS settlements,
  SUM(s.amount) AS amount,
  SUM(s.fee) AS fee,
  SUM(s.amount - s.fee) AS net_amount
FROM finance.settlements AS s
GROUP BY settlement_date, s.merchant_id, s.currency
