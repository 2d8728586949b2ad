// Logs in by go-sql-driver; the arguments and the line printed for each login are those of logins.py. The driver asks
// for the server's public key whenever it needs one.
package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

type outcome struct {
	Ok      bool   `json:"ok"`
	Version string `json:"version,omitempty"`
	Rows    string `json:"rows,omitempty"`
	Code    uint16 `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
}

func main() {
	for arguments := os.Args[1:]; len(arguments) >= 7; arguments = arguments[7:] {
		line := outcome{Ok: true}
		if err := serve(arguments, &line); err != nil {
			line = outcome{Message: err.Error()}
			var refused *mysql.MySQLError
			if errors.As(err, &refused) {
				line.Code = refused.Number
			}
		}
		printed, err := json.Marshal(line)
		if err != nil {
			panic(err)
		}
		fmt.Println(string(printed))
	}
}

func serve(arguments []string, line *outcome) error {
	config := mysql.NewConfig()
	config.Net = "tcp"
	config.Addr = arguments[0] + ":" + arguments[1]
	config.User, config.Passwd, config.DBName = arguments[2], arguments[3], arguments[4]
	config.Timeout, config.ReadTimeout = 10*time.Second, 10*time.Second
	if arguments[5] == "tls=yes" {
		config.TLSConfig = "skip-verify"
	}
	pool, err := sql.Open("mysql", config.FormatDSN())
	if err != nil {
		return err
	}
	defer pool.Close()
	pool.SetMaxOpenConns(1)
	if err := pool.QueryRow("SELECT VERSION()").Scan(&line.Version); err != nil {
		return err
	}
	table := "written_by_" + config.User
	create := "CREATE TABLE IF NOT EXISTS " + table + " (id INT AUTO_INCREMENT PRIMARY KEY, word VARCHAR(20))"
	if _, err := pool.Exec(create); err != nil {
		return err
	}
	if _, err := pool.Exec("INSERT INTO "+table+" (word) VALUES (?)", "it's"); err != nil {
		return err
	}
	rows, err := pool.Query("SELECT id, word FROM seeds ORDER BY id")
	if err != nil {
		return err
	}
	defer rows.Close()
	var words []string
	for rows.Next() {
		var number int
		var word string
		if err := rows.Scan(&number, &word); err != nil {
			return err
		}
		words = append(words, fmt.Sprintf("%d:%s", number, word))
	}
	line.Rows = strings.Join(words, ",")
	return rows.Err()
}
