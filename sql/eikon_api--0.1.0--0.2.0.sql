\echo Use "ALTER EXTENSION eikon_api UPDATE" to load this file. \quit

-- No object of 0.1.0 has changed.
