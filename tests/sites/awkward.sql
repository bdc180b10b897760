-- What dumps get wrong: odd names, binary values, floats, generated and invisible columns, partitions, views
-- that need functions and other views, code that looks like data.
SET NAMES utf8mb4;
SET SESSION sql_mode = '';
CREATE TABLE `o``dd name` (
    id INT PRIMARY KEY,
    f FLOAT,
    d DOUBLE,
    n DECIMAL(20, 10),
    b BIT(9),
    bin VARBINARY(20),
    blb LONGBLOB,
    txt LONGTEXT,
    l1 VARCHAR(20) CHARACTER SET latin1,
    j JSON,
    e ENUM('a', 'b''c'),
    s SET('x', 'y'),
    t TIMESTAMP NULL,
    dt DATETIME(6),
    tm TIME(3),
    y YEAR,
    p POINT,
    v INT AS (id + 1) VIRTUAL,
    st INT AS (id * 2) STORED,
    `in``v` INT INVISIBLE DEFAULT 5
);
INSERT INTO `o``dd name` (id, f, d, n, b, bin, blb, txt, l1, j, e, s, t, dt, tm, y, p, `in``v`) VALUES
    (1, 0.1, 0.1, 1234567890.0123456789, b'100000001', 0x00ff27, '', 'it''s \\ \n \r \Z \0 % 😀  ', 'éÿ',
     '{"a": "\\n"}', 'b''c', 'x,y', '2020-01-01 00:00:00', '2020-01-01 00:00:00.123456', '-12:00:00.5', 2020,
     POINT(1, 2), 7),
    (2, 16777215, -1e300, NULL, NULL, NULL, NULL, '(\nINSERT INTO `x`', '', '[]', NULL, '', NULL,
     '0000-00-00', NULL, NULL, NULL, 8);
CREATE TABLE numbered (id INT AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT = 77;
SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO';
INSERT INTO numbered VALUES (0), (5);
CREATE TABLE child (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES `o``dd name` (id));
INSERT INTO child VALUES (1, 2), (2, NULL);
CREATE TABLE empty_one (id INT) COMMENT 'a comment;\nof two lines';
CREATE TABLE big (id INT PRIMARY KEY, t VARCHAR(200));
INSERT INTO big SELECT seq, REPEAT('x', 150) FROM seq_1_to_20000;
CREATE TABLE parted (id INT PRIMARY KEY)
    PARTITION BY RANGE (id) (PARTITION low VALUES LESS THAN (10), PARTITION high VALUES LESS THAN MAXVALUE);
INSERT INTO parted VALUES (1), (11);
CREATE TABLE parted_empty (id INT) PARTITION BY LIST (id) (PARTITION one VALUES IN (1, 2));
CREATE FUNCTION twice(x INT) RETURNS INT DETERMINISTIC RETURN x * 2;
CREATE VIEW z_view AS SELECT id, twice(id) AS doubled FROM child;
CREATE VIEW a_view AS SELECT id, doubled FROM z_view;
CREATE TRIGGER trg BEFORE INSERT ON child FOR EACH ROW SET NEW.id = NEW.id + 0;
CREATE EVENT evt ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM empty_one;
DELIMITER ;;
CREATE PROCEDURE fill()
BEGIN
INSERT INTO `empty_one` VALUES
(1);
END ;;
DELIMITER ;
