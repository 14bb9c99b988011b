-- Quantity and revenue of each product
-- key: product_id
-- required: product_id, total_quantity, total_revenue
-- warn revenue: total_revenue >= 0
SELECT s.product_id, p.product_name, s.total_quantity, s.total_revenue
FROM (SELECT product_id,
             CAST(sum(order_item_quantity) AS BIGINT) AS total_quantity,
             CAST(sum(order_item_subtotal) AS DECIMAL(12, 2)) AS total_revenue
      FROM orders_fact
      GROUP BY product_id) s
LEFT JOIN product_dim p ON s.product_id = p.product_id
