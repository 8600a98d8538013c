-- Made by scripts/generate from alembic/resources/versions: change those.

CREATE TABLE evtool_version (
    version_num VARCHAR(32) NOT NULL, 
    CONSTRAINT evtool_version_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> 0001

CREATE TABLE users (
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  email text NOT NULL,
  name text NOT NULL,
  role text NOT NULL CHECK (role IN ('admin', 'author', 'reader')),
  active boolean NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX users_email ON users (lower(email));

CREATE TABLE articles (
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  slug text NOT NULL,
  title text NOT NULL,
  description text,
  body text NOT NULL,
  author_id uuid NOT NULL REFERENCES users,
  tags text[] NOT NULL DEFAULT '{}',
  status text NOT NULL CHECK (status IN ('draft', 'published', 'archived')),
  published_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (id),
  CONSTRAINT articles_slug UNIQUE (slug),
  CONSTRAINT articles_draft_is_unpublished CHECK (status <> 'draft' OR published_at IS NULL)
);

CREATE INDEX articles_author_id ON articles (author_id);

CREATE TABLE comments (
  id text NOT NULL,
  article_id uuid NOT NULL REFERENCES articles,
  user_id uuid NOT NULL REFERENCES users,
  body text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (id)
);

CREATE INDEX comments_article_id ON comments (article_id);

CREATE INDEX comments_user_id ON comments (user_id);

CREATE TABLE posts (
  uri text NOT NULL,
  cid text,
  did text,
  text text,
  created_at timestamptz NOT NULL,
  indexed_at timestamptz,
  has_media boolean NOT NULL DEFAULT false,
  like_count integer NOT NULL DEFAULT 0,
  repost_count integer NOT NULL DEFAULT 0,
  reply_count integer NOT NULL DEFAULT 0,
  quote_count integer NOT NULL DEFAULT 0,
  is_reply boolean NOT NULL DEFAULT false,
  reply_parent text,
  embed_type text,
  embed_data json,
  labels json,
  archived_at timestamptz,
  PRIMARY KEY (uri)
);

CREATE INDEX posts_order ON posts (created_at DESC, uri);

INSERT INTO evtool_version (version_num) VALUES ('0001');
