\echo Use "ALTER EXTENSION eikon_features UPDATE" to load this file. \quit

--
-- The table features becomes the table eikon_user_features, without the columns that depend on
-- all users, and the view features shows them all.
--
-- The table keeps its OID, and with it its rows, rights, indexes, triggers, policies and whatever
-- else users have put on it. Views and functions that need the two columns or the row type are
-- replaced by what reads the new objects; what cannot be replaced is refused. The functions here
-- do that, and are dropped at the end.
--
-- Nothing of this becomes part of the extension that is not: see eikon_outside_extension() in
-- src/sql_api.c.
--

CREATE FUNCTION eikon_outside_extension(statement text, role oid DEFAULT NULL)
RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT
AS 'MODULE_PATHNAME', 'eikon_outside_extension';

CREATE FUNCTION eikon_update_execute(statement text, role oid DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	EXECUTE format('SELECT %s.eikon_outside_extension($1, $2)',
		(SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'eikon_features')) USING statement, role;
END
$$;

-- Grants on an object what was granted on another one, with the same grantors and grant options:
-- those that the owner granted first, and last those that need others to be granted. Rights that
-- the grantee has in there are left out.
CREATE FUNCTION eikon_update_grant(acl aclitem[], owner oid, wanted text[], target text, columns text DEFAULT '', there aclitem[] DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	command text := format('SELECT %s.eikon_update_execute($1, $2)',
		(SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'eikon_features'));
	statement text;
	item record;
BEGIN
	FOR item IN
		WITH RECURSIVE granted AS (
			SELECT a.grantor, a.grantee, a.privilege_type, bool_or(a.is_grantable) AS is_grantable, min(a.nth) AS nth
			FROM aclexplode(acl) WITH ORDINALITY AS a (grantor, grantee, privilege_type, is_grantable, nth)
			WHERE a.privilege_type = ANY (wanted) AND a.grantee <> owner
			GROUP BY a.grantor, a.grantee, a.privilege_type
		), chain AS (
			SELECT g.*, 0 AS place FROM granted AS g WHERE g.grantor = owner
			UNION ALL
			SELECT g.*, c.place + 1
			FROM chain AS c JOIN granted AS g ON g.grantor = c.grantee AND g.privilege_type = c.privilege_type
			WHERE c.is_grantable
		)
		SELECT c.grantor, c.grantee, c.privilege_type, c.is_grantable
		FROM chain AS c
		WHERE NOT EXISTS (SELECT FROM aclexplode(there) AS a
			WHERE a.grantee = c.grantee AND a.privilege_type = c.privilege_type AND a.is_grantable >= c.is_grantable)
		GROUP BY c.grantor, c.grantee, c.privilege_type, c.is_grantable, c.nth
		ORDER BY min(c.place), c.nth
	LOOP
		statement := format('GRANT %s %s ON %s TO %s %s', item.privilege_type, columns, target,
			CASE item.grantee WHEN 0 THEN 'PUBLIC' ELSE item.grantee::regrole::text END,
			CASE WHEN item.is_grantable THEN 'WITH GRANT OPTION' END);
		BEGIN
			EXECUTE command USING statement, nullif(item.grantor, owner);
		EXCEPTION WHEN insufficient_privilege THEN
			-- a grantor to whom the schema has been closed meanwhile
			EXECUTE command USING statement, NULL::oid;
		END;
	END LOOP;
END
$$;

-- What is replaced: definition is what it was, or is to be.
CREATE TEMPORARY TABLE eikon_update_objects (
	kind text NOT NULL,
	object oid NOT NULL,
	way text,
	definition text
);
CREATE TEMPORARY TABLE eikon_update_rights AS
SELECT c.oid, c.relname, c.relowner, c.relacl FROM pg_catalog.pg_class AS c WHERE false;

-- Refuses what cannot come along, and notes what is replaced, before anything is changed.
--
-- A view of the user's that reads its tables with the rights of its owner must go on to do so,
-- and features and the views of older shapes do not any more: they read with those of whoever
-- reads the user's view. So in its definition, the two columns become expressions ("columns"),
-- and the views of older shapes become what they are made of ("shapes"). All others, and those that
-- need the row type, read the view features in place of the table ("name").
CREATE FUNCTION eikon_update_check()
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	schema text := (SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'eikon_features');
	features oid := to_regclass(schema || '.features');
	row_types oid[];
	columns smallint[];
	functions oid[];
	shapes oid[];
	refused text[];
	-- a whole row, in a definition without its literals
	whole_row text := '[a-z0-9_"]\.\*';
	literal text := $literal$'(?:[^']|'')*'$literal$;
	identifier text := '(?:"(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)';
BEGIN
	IF features IS NULL OR (SELECT relkind NOT IN ('r', 'p') FROM pg_class WHERE oid = features) THEN
		RAISE EXCEPTION 'table "features" is missing from schema %', schema
			USING ERRCODE = 'undefined_table', HINT = 'The extension''s tables must keep their names and their schema.';
	END IF;
	SELECT ARRAY[t.oid, t.typarray] INTO row_types FROM pg_type AS t WHERE t.typrelid = features;
	columns := ARRAY(SELECT attnum FROM pg_attribute WHERE attrelid = features AND attname IN ('avg_experiments', 'experiments_pct'));
	functions := ARRAY(SELECT objid FROM pg_depend JOIN pg_proc AS p ON p.oid = objid
		WHERE classid = 'pg_proc'::regclass AND deptype = 'e' AND proname IN ('eikon_derive_features', 'days_since_signup')
			AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'eikon_features'));
	shapes := ARRAY(SELECT objid FROM pg_depend JOIN pg_class AS c ON c.oid = objid
		WHERE classid = 'pg_class'::regclass AND deptype = 'e' AND relname IN ('etl_results', 'derived_exp_data', 'feature_derivation')
			AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'eikon_features'));

	-- Views of users that read features or one of the shapes.
	INSERT INTO eikon_update_objects
	SELECT 'view', c.oid,
		CASE WHEN text.reads_features AND (text.needs_type OR text.needs_columns AND (is_invoker OR text.has_aliases)) THEN 'name'
			WHEN text.needs_columns THEN 'columns'
			WHEN text.reads_shapes AND NOT is_invoker THEN CASE WHEN text.has_whole_row THEN 'left' ELSE 'shapes' END
		END,
		text.definition
	FROM pg_class AS c,
		LATERAL (SELECT coalesce((SELECT option_value::boolean FROM pg_options_to_table(c.reloptions) WHERE option_name = 'security_invoker'), false)) AS o (is_invoker),
		LATERAL (
			SELECT bool_or(d.refclassid = 'pg_class'::regclass AND d.refobjid = features) AS reads_features,
				bool_or(d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY (shapes)) AS reads_shapes,
				bool_or(d.refclassid = 'pg_class'::regclass AND d.refobjid = features AND d.refobjsubid = ANY (columns)) AS needs_columns,
				bool_or(d.refclassid = 'pg_type'::regclass AND d.refobjid = ANY (row_types)
					OR d.refclassid = 'pg_proc'::regclass AND d.refobjid = ANY (functions)) AS depends_on_type
			FROM pg_rewrite AS r JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
			WHERE r.ev_class = c.oid AND r.ev_type = '1'
		) AS d,
		LATERAL (
			SELECT pg_get_viewdef(c.oid) AS definition, d.reads_shapes, d.needs_columns,
				d.reads_features OR d.depends_on_type AS reads_features,
				d.depends_on_type OR d.reads_features AND regexp_replace(pg_get_viewdef(c.oid), literal, '', 'g') ~ whole_row AS needs_type,
				regexp_replace(pg_get_viewdef(c.oid), literal, '', 'g') ~ whole_row AS has_whole_row,
				pg_get_viewdef(c.oid) ~ ('\mfeatures(?: ' || identifier || ')?\(') AS has_aliases
		) AS text
	WHERE c.relkind = 'v' AND c.oid <> ALL (shapes) AND (d.reads_features OR d.reads_shapes OR d.depends_on_type);
	DELETE FROM eikon_update_objects WHERE way IS NULL;

	-- SQL functions whose bodies have been parsed, and read features or depend on the functions.
	INSERT INTO eikon_update_objects
	SELECT DISTINCT 'function', p.oid, 'name', pg_get_functiondef(p.oid)
	FROM pg_proc AS p JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
	WHERE p.prosqlbody IS NOT NULL AND p.oid <> ALL (functions)
		AND (d.refclassid = 'pg_class'::regclass AND d.refobjid = features
			OR d.refclassid = 'pg_type'::regclass AND d.refobjid = ANY (row_types)
			OR d.refclassid = 'pg_proc'::regclass AND d.refobjid = ANY (functions));

	-- All else that depends on the columns, the row type or the functions.
	refused := ARRAY(
		SELECT DISTINCT CASE WHEN r.ev_type = '1' THEN pg_describe_object('pg_class'::regclass, r.ev_class, 0)
			ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END
		FROM pg_depend AS d
			LEFT JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
			LEFT JOIN pg_class AS c ON c.oid = r.ev_class
			LEFT JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
			LEFT JOIN pg_attrdef AS a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid
			LEFT JOIN pg_constraint AS n ON d.classid = 'pg_constraint'::regclass AND n.oid = d.objid
		WHERE (d.refclassid = 'pg_class'::regclass AND d.refobjid = features AND d.refobjsubid = ANY (columns)
				OR d.refclassid = 'pg_type'::regclass AND d.refobjid = ANY (row_types)
				OR d.refclassid = 'pg_proc'::regclass AND d.refobjid = ANY (functions)
				OR c.relkind = 'm' AND d.refclassid = 'pg_class'::regclass AND d.refobjid = features
					AND regexp_replace(pg_get_viewdef(c.oid), literal, '', 'g') ~ whole_row)
			AND NOT coalesce(r.ev_type = '1' AND c.relkind = 'v', false)
			AND NOT coalesce(p.oid = ANY (functions), false)
			AND NOT coalesce(p.prosqlbody IS NOT NULL
				AND NOT (coalesce(p.proallargtypes, p.proargtypes::oid[]) || p.prorettype) && row_types, false)
			AND NOT coalesce(a.adrelid = features AND a.adnum = ANY (columns) AND d.refobjsubid = a.adnum, false)
			AND NOT coalesce(n.conrelid = features AND n.contype = 'n', false)
			AND NOT (d.classid = 'pg_type'::regclass AND d.objid = ANY (row_types))
		UNION
		SELECT pg_describe_object('pg_class'::regclass, inhrelid, 0) || ', which inherits from it' FROM pg_inherits WHERE inhparent = features
		UNION
		SELECT pg_describe_object('pg_class'::regclass, inhparent, 0) || ', from which it inherits'
		FROM pg_inherits
		WHERE inhrelid = features AND EXISTS (SELECT FROM pg_attribute
			WHERE attrelid = features AND attnum = ANY (columns) AND attinhcount > 0)
		UNION
		SELECT pg_describe_object('pg_proc'::regclass, tgfoid, 0) || ' of ' || pg_describe_object('pg_trigger'::regclass, t.oid, 0)
		FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = tgfoid
		WHERE tgrelid = features AND NOT tgisinternal AND prosrc ~* '\m(new|old)\."?(avg_experiments|experiments_pct)\M'
		UNION
		-- a view that will read with the rights of whoever reads it
		SELECT pg_describe_object('pg_class'::regclass, above.view, 0) || ', which role ' || above.role || ' may read'
		FROM (
			WITH RECURSIVE above AS (
				SELECT object AS first, object AS view FROM eikon_update_objects
				WHERE kind = 'view' AND way IN ('name', 'left')
				UNION
				SELECT above.first, r.ev_class
				FROM above JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = above.view
					AND d.classid = 'pg_rewrite'::regclass
				JOIN pg_rewrite AS r ON r.oid = d.objid AND r.ev_type = '1'
			)
			SELECT above.view, g.grantee, CASE g.grantee WHEN 0 THEN 'public' ELSE g.grantee::regrole::text END AS role
			FROM above JOIN pg_class AS f ON f.oid = above.first JOIN pg_class AS c ON c.oid = above.view AND c.relkind = 'v',
				LATERAL (
					SELECT a.grantee FROM aclexplode(c.relacl) AS a WHERE a.privilege_type = 'SELECT' AND a.grantee <> c.relowner
					UNION SELECT a.grantee FROM pg_attribute, aclexplode(attacl) AS a WHERE attrelid = c.oid AND a.privilege_type = 'SELECT'
				) AS g
			WHERE NOT coalesce((SELECT option_value::boolean FROM pg_options_to_table(f.reloptions) WHERE option_name = 'security_invoker'), false)
				AND NOT CASE g.grantee WHEN 0 THEN has_table_privilege('public', features, 'SELECT')
					ELSE has_table_privilege(g.grantee, features, 'SELECT') END
		) AS above
		ORDER BY 1);
	IF refused <> '{}' THEN
		RAISE EXCEPTION 'cannot update extension "eikon_features" because other objects depend on table "features"'
			USING ERRCODE = 'dependent_objects_still_exist',
				DETAIL = array_to_string(refused, E'\n'),
				HINT = 'Table "features" becomes a view without these columns and this row type in its place: "avg_experiments" and "experiments_pct" move to the view. Drop the objects, or change them so that they do not need these; after the update, create them again.';
	END IF;

	-- Rights of columns do not suffice for a view, which needs all that it shows.
	FOR refused IN
		SELECT ARRAY[c.relname, string_agg(DISTINCT CASE a.grantee WHEN 0 THEN 'public' ELSE a.grantee::regrole::text END, ', ')]
		FROM pg_class AS c JOIN pg_attribute ON attrelid = c.oid, aclexplode(attacl) AS a
		WHERE c.oid = ANY (features || shapes) AND a.privilege_type = 'SELECT'
			AND NOT CASE a.grantee WHEN 0 THEN has_table_privilege('public', c.oid, 'SELECT') ELSE has_table_privilege(a.grantee, c.oid, 'SELECT') END
		GROUP BY c.relname
	LOOP
		RAISE WARNING 'roles with rights on some columns of "%" cannot read it any more: %', refused[1], refused[2]
			USING HINT = 'Grant them SELECT on the same columns of "eikon_user_features", or a view of your own.';
	END LOOP;
	FOR refused IN
		SELECT ARRAY[pubname] FROM pg_publication_rel JOIN pg_publication AS p ON p.oid = prpubid WHERE prrelid = features
	LOOP
		RAISE WARNING 'publication "%" does not publish table "eikon_totals"', refused[1]
			USING HINT = 'Subscribers need it for the view "features": ALTER PUBLICATION ... ADD TABLE.';
	END LOOP;

	INSERT INTO eikon_update_rights SELECT c.oid, c.relname, c.relowner, c.relacl FROM pg_class AS c WHERE c.oid = ANY (features || shapes);

	-- From here on, names tell what is to be replaced.
	FOR refused IN SELECT ARRAY[oid::regclass::text, relname] FROM eikon_update_rights WHERE oid <> features LOOP
		EXECUTE format('ALTER VIEW %s RENAME TO %I', refused[1], 'eikon ' || refused[2] || ' 0.1.0');
	END LOOP;
	UPDATE eikon_update_objects AS o SET definition = pg_get_viewdef(object)
	WHERE kind = 'view' AND way = 'name' AND NOT coalesce((SELECT option_value::boolean
		FROM pg_class AS c, pg_options_to_table(c.reloptions) WHERE c.oid = object AND option_name = 'security_invoker'), false)
		AND regexp_replace(definition, literal, '', 'g') !~ whole_row;
	EXECUTE format('ALTER TABLE %s.features RENAME avg_experiments TO "eikon avg_experiments 0.1.0"', schema);
	EXECUTE format('ALTER TABLE %s.features RENAME experiments_pct TO "eikon experiments_pct 0.1.0"', schema);
	EXECUTE format('ALTER TABLE %s.features RENAME TO eikon_user_features', schema);
	UPDATE eikon_update_objects SET definition = pg_get_viewdef(object) WHERE way IN ('columns', 'shapes');
	FOR refused IN SELECT ARRAY[oid::regclass::text, relname] FROM eikon_update_rights WHERE oid <> features LOOP
		EXECUTE format('ALTER VIEW %s RENAME TO %I', refused[1], refused[2]);
	END LOOP;
END
$$;

-- Gives the new objects what users have given the old ones, and replaces what was noted.
CREATE FUNCTION eikon_update_replace()
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	schema text := (SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'eikon_features');
	features eikon_update_rights := (SELECT r FROM eikon_update_rights AS r WHERE relname = 'features');
	source regclass := to_regclass(schema || '.eikon_user_features');
	view regclass := to_regclass(schema || '.features');
	own record;
	object record;
	target text;
	definition text;
	totals text := format('ONLY %s.eikon_totals t', schema);
	identifier text := '(?:"(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)';
	message text;
BEGIN
	-- Columns of the user's stay in the view, after all others.
	FOR own IN
		SELECT attname FROM pg_attribute AS a
		WHERE attrelid = source AND attnum > 0 AND NOT attisdropped AND attname !~ '^eikon (avg_experiments|experiments_pct) 0\.1\.0$'
			AND NOT EXISTS (SELECT FROM pg_attribute AS v WHERE v.attrelid = view AND v.attname = a.attname)
		ORDER BY attnum
	LOOP
		EXECUTE format('CREATE OR REPLACE VIEW %s WITH (security_invoker = true) AS %s', view,
			replace(pg_get_viewdef(view), format('FROM %s u;', source), format(', u.%I FROM %s u', own.attname, source)));
	END LOOP;

	-- Comments and owners
	FOR own IN
		SELECT quote_ident(substring(attname FROM '^eikon (\S+) 0\.1\.0$')) AS renamed, attname, col_description(attrelid, attnum) AS comment
		FROM pg_attribute WHERE attrelid = source AND attnum > 0 AND NOT attisdropped
	LOOP
		EXECUTE format('COMMENT ON COLUMN %s.%s IS %L', view, coalesce(own.renamed, quote_ident(own.attname)), own.comment);
	END LOOP;
	EXECUTE format('COMMENT ON VIEW %s IS %L', view, obj_description(source, 'pg_class'));
	IF obj_description(source, 'pg_class') = 'one row per user: what the last ETL run derived from the source files' THEN
		EXECUTE format('COMMENT ON TABLE %s IS %L', source,
			'one row per user: the features that the last ETL run derived from the source files and that depend on this user alone; read the view features');
	END IF;
	FOR own IN
		SELECT n.conname FROM pg_constraint AS n
		WHERE n.conrelid = source AND (n.contype = 'p' AND n.conname = 'features_pkey'
			OR n.contype = 'n' AND n.conname IN ('features_user_id_not_null', 'features_total_experiments_not_null'))
	LOOP
		EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', source, own.conname, 'eikon_user_' || own.conname);
	END LOOP;
	IF features.relowner <> current_user::regrole THEN
		EXECUTE format('ALTER TABLE %s.eikon_totals OWNER TO %s', schema, features.relowner::regrole);
		EXECUTE format('ALTER VIEW %s OWNER TO %s', view, features.relowner::regrole);
	END IF;

	-- The two functions. The old ones have other names by now, or another type of argument.
	FOR object IN
		SELECT o.oid::regprocedure AS old, n.oid::regprocedure AS new, o.proowner, o.proacl, obj_description(o.oid, 'pg_proc') AS comment
		FROM pg_proc AS o JOIN pg_proc AS n ON n.pronamespace = o.pronamespace
		WHERE o.oid IN (to_regproc(schema || '.eikon_derive_features_0_1_0'),
				to_regprocedure(schema || '.days_since_signup(' || source::text || ')'))
			AND n.oid IN (to_regproc(schema || '.eikon_derive_features'),
				to_regprocedure(schema || '.days_since_signup(' || view::text || ')'))
			AND n.proname = replace(o.proname, '_0_1_0', '')
	LOOP
		EXECUTE format('COMMENT ON FUNCTION %s IS %L', object.new, object.comment);
		IF object.proowner <> current_user::regrole THEN
			EXECUTE format('ALTER FUNCTION %s OWNER TO %s', object.new, object.proowner::regrole);
		END IF;
		EXECUTE format('SELECT %s.eikon_update_grant($1, $2, $3, $4)', schema)
			USING object.proacl, object.proowner, '{EXECUTE}'::text[], 'FUNCTION ' || object.new;
	END LOOP;

	-- Rights on features: the same on the view, and on eikon_totals what runs and readers need.
	-- Those of columns, of the two that are no more as well, are the view's too.
	EXECUTE format('SELECT %s.eikon_update_grant($1, $2, $3, $4)', schema)
		USING features.relacl, features.relowner,
			ARRAY(SELECT DISTINCT a.privilege_type FROM aclexplode(features.relacl) AS a), view::text;
	FOR own IN
		SELECT coalesce(substring(attname FROM '^eikon (\S+) 0\.1\.0$'), attname) AS attname, attacl
		FROM pg_attribute WHERE attrelid = source AND attacl IS NOT NULL AND NOT attisdropped
	LOOP
		EXECUTE format('SELECT %s.eikon_update_grant($1, $2, $3, $4, $5)', schema)
			USING own.attacl, features.relowner, '{SELECT,INSERT,UPDATE,REFERENCES}'::text[], view::text, format('(%I)', own.attname);
	END LOOP;
	FOR own IN
		SELECT features.relacl AS acl, '{SELECT,INSERT,UPDATE,DELETE}'::text[] AS wanted
		UNION ALL SELECT attacl, '{SELECT}' FROM pg_attribute WHERE attrelid = source AND attacl IS NOT NULL AND NOT attisdropped
	LOOP
		EXECUTE format('SELECT %s.eikon_update_grant($1, $2, $3, $4, $5, (SELECT relacl FROM pg_catalog.pg_class WHERE oid = $6))', schema)
			USING own.acl, features.relowner, own.wanted, schema || '.eikon_totals', '',
				to_regclass(schema || '.eikon_totals')::oid;
	END LOOP;

	-- Who may read a view of an older shape needs rights on just what that shows.
	FOR own IN
		SELECT r.relowner, r.relacl, s.target, s.columns
		FROM eikon_update_rights AS r JOIN (VALUES
			('etl_results', 'eikon_user_features', '(user_id, name, email, signup_date, total_experiments, avg_experiment_run_time, most_common_compound_ids)'),
			('etl_results', 'eikon_compounds', ''),
			('derived_exp_data', 'eikon_user_features', '(user_id, total_experiments, avg_experiment_run_time, most_common_compound_id, most_common_compound_name)'),
			('derived_exp_data', 'eikon_totals', ''),
			('feature_derivation', 'eikon_user_features', '(user_id, signup_date, total_experiments, total_experiment_run_time)')
		) AS s (view, target, columns) ON s.view = r.relname
	LOOP
		target := schema || '.' || own.target;
		EXECUTE format('SELECT %s.eikon_update_grant($1, $2, $3, $4, $5, (SELECT relacl FROM pg_catalog.pg_class WHERE oid = $6))', schema)
			USING own.relacl, own.relowner, '{SELECT}'::text[], target, own.columns, to_regclass(target)::oid;
	END LOOP;

	-- What was noted
	FOR object IN
		SELECT o.*, o.object::regclass::text AS name, c.relname, array_to_string(c.reloptions, ', ') AS options
		FROM eikon_update_objects AS o LEFT JOIN pg_class AS c ON o.kind = 'view' AND c.oid = o.object
		WHERE o.way <> 'left'
	LOOP
		definition := object.definition;
		IF object.kind = 'view' THEN
			definition := regexp_replace(definition, '(' || identifier || '\.)?"eikon avg_experiments 0\.1\.0"',
				format('(SELECT t.experiments::float8 / CASE WHEN t.users > 0 THEN t.users ELSE 1 END::float8 FROM %s)', replace(totals, '\', '\\')), 'g');
			definition := regexp_replace(definition, '(' || identifier || '\.)?"eikon experiments_pct 0\.1\.0"',
				format('(\1total_experiments::float8 / (SELECT CASE WHEN t.experiments > 0 THEN t.experiments ELSE 1 END::float8 FROM %s))', replace(totals, '\', '\\')), 'g');
			FOR own IN SELECT relname, 'eikon ' || relname || ' 0.1.0' AS renamed, oid::regclass AS oid FROM eikon_update_rights WHERE relname <> 'features' LOOP
				target := format('(%s)', replace(rtrim(pg_get_viewdef(own.oid), ';'), '\', '\\'));
				definition := regexp_replace(definition, identifier || format('\."%s" (%s)', own.renamed, identifier), target || ' \1', 'g');
				definition := regexp_replace(definition, identifier || format('\."%s"', own.renamed), target || ' ' || own.relname, 'g');
				definition := replace(definition, format('"%s"', own.renamed), own.relname);
			END LOOP;
			definition := format('CREATE OR REPLACE VIEW %s %s AS %s', object.name, 'WITH (' || object.options || ')', definition);
		END IF;
		BEGIN
			IF definition ~ ('eikon_user_features(?: ' || identifier || ')?\(') AND object.way = 'columns' THEN
				RAISE EXCEPTION 'it joins by columns that table "eikon_user_features" no longer has';
			END IF;
			EXECUTE format('SELECT %s.eikon_update_execute($1)', schema) USING definition;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
			RAISE EXCEPTION 'cannot update extension "eikon_features" because other objects depend on table "features"'
				USING ERRCODE = 'dependent_objects_still_exist',
					DETAIL = format('%s: %s', pg_describe_object(CASE object.kind WHEN 'view' THEN 'pg_class' ELSE 'pg_proc' END::regclass, object.object, 0), message),
					HINT = 'Drop it, and create it again after the update.';
		END;
	END LOOP;
END
$$;

SELECT eikon_update_check();

--
-- Tables and views
--

-- Empty until the first run, so that a dump or a subscription can fill it.
CREATE TABLE eikon_totals (
	users bigint NOT NULL,
	experiments bigint NOT NULL,
	run_id bigint NOT NULL
);
CREATE UNIQUE INDEX eikon_totals_one_row ON eikon_totals ((true));
ALTER TABLE eikon_totals REPLICA IDENTITY FULL;
COMMENT ON TABLE eikon_totals IS 'one row, from the first ETL run on: the totals that the features of every user depend on';
COMMENT ON COLUMN eikon_totals.users IS 'number of users';
COMMENT ON COLUMN eikon_totals.experiments IS 'number of experiments of all users';
COMMENT ON COLUMN eikon_totals.run_id IS 'the last run that changed eikon_user_features, eikon_compounds or these totals';
COMMENT ON INDEX eikon_totals_one_row IS 'allows one row only';

INSERT INTO eikon_totals
SELECT coalesce(r.users_loaded, f.users), coalesce(r.experiments_loaded, f.experiments),
	coalesce(r.run_id, (SELECT pg_catalog.max(run_id) FROM eikon_runs WHERE status OPERATOR(pg_catalog.=) 'succeeded'), 0)
FROM (SELECT pg_catalog.count(*) AS users, coalesce(pg_catalog.sum(total_experiments), 0)::pg_catalog.int8 AS experiments
	FROM ONLY eikon_user_features) AS f
LEFT JOIN eikon_runs AS r ON r.is_current
WHERE f.users OPERATOR(pg_catalog.>) 0 OR r.run_id IS NOT NULL;
SELECT pg_catalog.pg_extension_config_dump('eikon_totals', '');

-- Each total is a subquery and not a join: rows are neither lost nor doubled with those of
-- eikon_totals. Without its row the two columns are NULL.
CREATE VIEW features WITH (security_invoker = true) AS
SELECT
	u.user_id,
	u.name,
	u.email,
	u.signup_date,
	u.total_experiments,
	(SELECT t.experiments::pg_catalog.float8
			OPERATOR(pg_catalog./) CASE WHEN t.users OPERATOR(pg_catalog.>) 0 THEN t.users ELSE 1 END::pg_catalog.float8
		FROM ONLY eikon_totals t) AS avg_experiments,
	u.total_experiments::pg_catalog.float8
		OPERATOR(pg_catalog./) (SELECT CASE WHEN t.experiments OPERATOR(pg_catalog.>) 0 THEN t.experiments ELSE 1 END::pg_catalog.float8
			FROM ONLY eikon_totals t) AS experiments_pct,
	u.avg_experiment_run_time,
	u.total_experiment_run_time,
	u.most_common_compound_id,
	u.most_common_compound_name,
	u.most_common_compound_structure,
	u.most_common_compound_count,
	u.most_common_compound_ids
FROM eikon_user_features u;

ALTER VIEW etl_results SET (security_invoker = true);
ALTER VIEW feature_derivation SET (security_invoker = true);
CREATE OR REPLACE VIEW derived_exp_data WITH (security_invoker = true) AS
SELECT
	f.user_id,
	f.total_experiments AS total_exp_per_user,
	pg_catalog.round((SELECT t.experiments::pg_catalog.float8
			OPERATOR(pg_catalog./) CASE WHEN t.users OPERATOR(pg_catalog.>) 0 THEN t.users ELSE 1 END::pg_catalog.float8
		FROM ONLY eikon_totals t)::pg_catalog.numeric, 2)::pg_catalog.float8 AS avg_experiment_count,
	pg_catalog.round(f.avg_experiment_run_time::pg_catalog.numeric, 2)::pg_catalog.float8 AS avg_exp_time_per_user,
	f.most_common_compound_id AS most_consumed_compound,
	f.most_common_compound_name AS most_consumed_compound_name
FROM eikon_user_features f;

--
-- Functions
--

ALTER FUNCTION eikon_derive_features RENAME TO eikon_derive_features_0_1_0;
CREATE FUNCTION eikon_derive_features(
	source text DEFAULT NULL,
	on_error text DEFAULT 'stop',
	reject_limit bigint DEFAULT NULL,
	delimiter text DEFAULT NULL,
	quote text DEFAULT NULL,
	escape text DEFAULT NULL,
	encoding text DEFAULT NULL,
	"null" text DEFAULT '',
	header boolean DEFAULT NULL,
	skip bigint DEFAULT NULL,
	padding text DEFAULT NULL,
	newline text DEFAULT NULL)
RETURNS SETOF features
LANGUAGE c VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT ROWS 100000 COST 1000000
AS 'MODULE_PATHNAME', 'eikon_derive_features';

-- Its body is a string: a parsed one would depend on the columns of features.
CREATE FUNCTION days_since_signup(features)
RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE
AS 'SELECT CURRENT_DATE OPERATOR(pg_catalog.-) ($1).signup_date';

REVOKE ALL ON FUNCTION eikon_derive_features FROM PUBLIC;
REVOKE ALL ON FUNCTION days_since_signup(features) FROM PUBLIC;

COMMENT ON FUNCTION eikon_run_etl IS 'reads the CSV files of a directory and brings features up to date, in the caller''s transaction';

SELECT eikon_update_replace();

DROP FUNCTION eikon_derive_features_0_1_0;
DROP FUNCTION days_since_signup(eikon_user_features);
ALTER TABLE eikon_user_features DROP COLUMN "eikon avg_experiments 0.1.0", DROP COLUMN "eikon experiments_pct 0.1.0";
DROP TABLE eikon_update_objects, eikon_update_rights;
DROP FUNCTION eikon_update_replace;
DROP FUNCTION eikon_update_check;
DROP FUNCTION eikon_update_grant;
DROP FUNCTION eikon_update_execute;
DROP FUNCTION eikon_outside_extension;
