SELECT p.product_id, p.product_name, c.category_id, c.category_name, p.product_price
FROM products p
LEFT JOIN category_dim c ON p.product_category_id = c.category_id
