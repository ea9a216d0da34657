-- Who the monitor is: it sees how runs went, and nothing of what they read or wrote.
--
--	sudo -u postgres psql -d eikon -v ON_ERROR_STOP=1 -f role.sql
--
-- Its name is that of its operating system user, so that peer authentication lets it in.
CREATE ROLE eikon_monitor LOGIN CONNECTION LIMIT 5;
ALTER ROLE eikon_monitor SET statement_timeout = '10s';
ALTER ROLE eikon_monitor SET lock_timeout = '2s';
GRANT EXECUTE ON FUNCTION eikon_health, eikon_running TO eikon_monitor;
GRANT SELECT (status, finished_at, is_current,
	users_read, users_rejected, compounds_read, compounds_rejected, experiments_read, experiments_rejected)
	ON eikon_runs TO eikon_monitor;
