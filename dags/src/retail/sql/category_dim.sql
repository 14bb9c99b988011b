SELECT c.category_id, c.category_name, d.department_id, d.department_name
FROM categories c
LEFT JOIN department_dim d ON c.category_department_id = d.department_id
